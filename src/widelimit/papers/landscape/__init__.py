"""Isotropic Gaussians (Mei, Montanari & Nguyen 2018)."""
