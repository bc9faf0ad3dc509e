"""What every room uses: errors in words, progress, named random streams, numbers with errors."""
