"""Defaults of experiments; assign to them, as in `spinup.user_config.DEFAULT_DATA_DIR = "/scratch"`."""

DEFAULT_BACKEND = {"sac": "pytorch"}  # which version `spinup sac` trains
DEFAULT_DATA_DIR = "data"  # parent folder of experiments whose caller gives none
FORCE_DATESTAMP = False  # date and time in the name of every folder
DEFAULT_SHORTHAND = True  # shorten each part of a key in names of variants to three letters
