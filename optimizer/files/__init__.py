"""Tables and directories: what is read is refused in one form, what is written is whole or not there."""
