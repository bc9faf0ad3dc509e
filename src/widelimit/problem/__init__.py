"""What is asked: a network given by laws instead of widths, data, training, what to look at."""
