"""How long steps are where velocities jump: the motion slides along a kink and goes on."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from widelimit.motion.control import Control
from widelimit.motion.flow import integrate
from widelimit.motion.spans import Span


def test_motion_slides_along_a_kink():
    """y' = −0.1 sign(y − s(t)), s moving at 0.02: y follows s once it is there.

    Steps across the jump are held to the tolerance and no more: 4,100 of them. Held to a share of
    their movement, which no step at a jump reaches, they were 10,900, and 2,000,000 did not bring
    a limit of leaky relus to its end.
    """
    with jax.enable_x64(True):
        span = Span(jnp.asarray(0.0), jnp.asarray(4.0))

        def field(t, state):
            y, z = state
            return [-0.1 * jnp.sign(y - (0.05 + 0.02 * t)), 1e-3 * z]

        (y, z), steps, completed = integrate(
            field,
            diffrax.Bosh3(),
            span,
            jnp.asarray(1e-2),
            [jnp.zeros(1), 0.01 * jnp.ones(1)],
            Control.of(jnp.asarray(1e-5)),
        )
    assert completed
    assert int(steps) < 7_000
    np.testing.assert_allclose(y, 0.13, atol=1e-4)
    np.testing.assert_allclose(z, 0.01 * np.exp(4e-3), rtol=1e-4)
