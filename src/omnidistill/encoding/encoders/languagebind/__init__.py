"""LanguageBind: an implementation of its towers for the published weights."""
