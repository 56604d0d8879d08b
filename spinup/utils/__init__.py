"""The import paths that Spinning Up documents: logx, run_utils, test_policy, plot, and others."""
