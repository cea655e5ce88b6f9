"""What each subcommand does once its arguments are parsed: call a plain function, and print or write what it returns.

One file for each thing that commands are about; `pmsi.cli.main` names the functions. Torch and what needs it are
imported only by the commands that compute, so that looking at runs is instantaneous.
"""
