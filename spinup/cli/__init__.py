"""The command line: main, flags, values, and one file per subcommand."""
