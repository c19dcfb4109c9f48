"""What a user can get wrong, said in one line."""


class UserError(Exception):
    """Bad input. The message is one line that names the thing and the cure.

    `metamon-ext` prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class RunStopped(UserError):
    """Trouble on the way that the input is not to blame for: a full disk, a worker that dies.

    What was done until then is kept, and the run can go on from there.
    """

    exit_code = 1
