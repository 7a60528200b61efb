"""A program that a scenario starts and ends."""

import signal
import subprocess

END_TIME = 20  # s


class Program:
    """What has a `process` while it runs."""

    process = None
    must_end = True  # when asked to: what has to be killed is a failure

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Its exit status; None when it did not run."""
        process, self.process = self.process, None
        if not process:
            return None
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            return process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if self.must_end:
                raise
            return process.returncode

    def kill(self):
        self.stop(signal.SIGKILL)
