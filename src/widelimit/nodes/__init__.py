"""Laws as points with weights: rules of quadrature, symmetry, refinement."""
