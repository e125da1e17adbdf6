"""The program around the commands: options, terminal, and the runner of questions."""
