"""ImageBind: an implementation of its towers for the published weights, which are for non-commercial use only."""
