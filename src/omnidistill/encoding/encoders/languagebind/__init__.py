"""LanguageBind: own towers for the published weights of video, image, audio, depth, thermal and text."""
