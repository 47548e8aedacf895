"""Contract tests for third-party components: one call checks whether a component works with omnidistill.

    from omnidistill.testing import check_objective

    def test_my_objective() -> None:
        check_objective(MyObjective(tau=0.1))

A check raises AssertionError if a component violates a requirement. The message names the requirement. If it is a
numerical requirement, the message also states the error. Checks use their own random generators.
"""

from omnidistill.testing.encoder_contract import check_encoder
from omnidistill.testing.method_contract import check_method
from omnidistill.testing.objective_contract import check_objective
from omnidistill.testing.similarity_contract import check_similarity
from omnidistill.testing.storage_contract import check_storage

__all__ = ["check_encoder", "check_method", "check_objective", "check_similarity", "check_storage"]
