"""Contract suites for components that others write: one call in a test says whether a component may be used here.

    from omnidistill.testing import check_objective
    def test_my_objective() -> None:
        check_objective(MyObjective(tau=0.1))

A check raises AssertionError saying which promise is broken, and by how much. It draws from generators of its own.
"""

from omnidistill.testing.encoder import check_encoder
from omnidistill.testing.method import check_method
from omnidistill.testing.objective import check_objective
from omnidistill.testing.parametrisation import check_parametrisation
from omnidistill.testing.similarity import check_similarity

__all__ = ["check_encoder", "check_method", "check_objective", "check_parametrisation", "check_similarity"]
