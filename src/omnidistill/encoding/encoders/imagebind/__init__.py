"""ImageBind: an implementation of its towers. The published weights are for non-commercial use only."""
