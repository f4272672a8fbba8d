"""What the callbacks of ws4py's clients do here; put before the class of a client."""

from exchange import exchange, message, window


class Exchanging:
    def opened(self):
        self.send_window()

    def received_message(self, reply):
        exchange.check(reply.data)
        if exchange.window_is_complete():
            self.send_window()

    def send_window(self):
        if not exchange.goes_on():
            self.close()
            return
        for _ in range(window):
            self.send(message)
