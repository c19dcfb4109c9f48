"""What a user can get wrong, said in one line."""


class UserError(Exception):
    """Bad input. The message is one line that names the thing and the cure.

    `metamon-ext` prints it without a traceback and exits with code 2.
    """
