"""Contract suites for components that others write: one call in a test says whether a component may be used here.

    from omnidistill.testing import check_objective
    def test_my_objective() -> None:
        check_objective(MyObjective(tau=0.1))

A check raises AssertionError saying which promise is broken, and by how much. It draws from generators of its own.
"""

from omnidistill.testing.encoder_contract import check_encoder
from omnidistill.testing.method_contract import check_method
from omnidistill.testing.objective_contract import check_objective
from omnidistill.testing.similarity_contract import check_similarity
from omnidistill.testing.storage_contract import check_storage

__all__ = ["check_encoder", "check_method", "check_objective", "check_similarity", "check_storage"]
