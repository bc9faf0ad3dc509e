"""Random features at both ends (Araújo, Oliveira & Yukimura 2019)."""
