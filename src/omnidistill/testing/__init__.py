"""Contract tests for third-party components: one call checks whether a component can be used with omnidistill.

    from omnidistill.testing import check_objective

    def test_my_objective() -> None:
        check_objective(MyObjective(tau=0.1))

A check raises AssertionError with the requirement that is violated, and by how much. It uses its own random generators.
"""

from omnidistill.testing.encoder_contract import check_encoder
from omnidistill.testing.method_contract import check_method
from omnidistill.testing.objective_contract import check_objective
from omnidistill.testing.similarity_contract import check_similarity
from omnidistill.testing.storage_contract import check_storage

__all__ = ["check_encoder", "check_method", "check_objective", "check_similarity", "check_storage"]
