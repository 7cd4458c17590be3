# SPDX-License-Identifier: MIT
"""The rows of the table: what is done, how often, and the goal for each."""


class Row:
    """Work of the load generator. goal: how many times Dovecot's default and its high-performance mode, None where there is none; peers: how many times others.
    user: "main" (the corpus), "fresh" (the corpus, a user never read in this round), "ten" (10,000 small messages), "newten" (the same, never read),
    "many" (100,000), "scratch" (mail comes in), "new" (each operation is another one's first). limit: a figure of measure.limits that bounds it."""

    def __init__(self, name, goal=(None, None), work=None, user="main", limit=None, of_limit=None, quick=None, cold=False, peers=None, **args):
        self.name, self.goal, self.work, self.user = name, goal, work or name, user
        self.limit, self.of_limit, self.quick, self.cold, self.peers, self.args = limit, of_limit, quick, cold, peers, args

    def goal_for(self, server):
        return {"dovecot": self.goal[0], "dovecot-fast": self.goal[1]}.get(server, self.peers)


ROWS = [
    Row("login", (20, 4), c=4, U=4, n=1000, quick=200),
    Row("login-tls", (None, 4), work="login", s=True, c=4, U=4, n=400, quick=100, limit="handshakes", of_limit=0.8),
    Row("pop3-login", c=4, U=4, n=600, quick=100, port="pop3"),
    Row("select", (1, 1), user="many", n=1000, quick=200),
    Row("status", (1, 1), user="many", n=3000, quick=500),
    Row("noop", n=20000, quick=2000),
    Row("fetch-header-first", (5, 5), work="fetch-header", user="fresh", n=1),
    Row("fetch-list-first", (30, 30), peers=3, work="fetch-list", user="fresh", n=1),
    Row("fetch-list", (3, 3), n=10, quick=3),
    Row("fetch-flags", (1, 1), user="many", n=3, quick=2),
    Row("store", (1, 1), user="many", n=2),
    Row("fetch-body-cold", (1.5, 1.5), work="fetch-body", n=1, cold=True),
    Row("fetch-body", (2, 2), n=4, quick=1, limit="loopback", of_limit=0.5),
    Row("fetch-body-tls", (2, 2), work="fetch-body", s=True, n=3, quick=1),
    Row("search-subject", (3, 3), n=20, quick=5),
    Row("search-body", (10, 10), n=2, quick=1),
    Row("search-text", (10, 10), n=2, quick=1),
    Row("sort-first", (5, 5), work="sort", user="newten", n=1),
    Row("sort", (5, 5), user="ten", n=4, quick=2),
    Row("thread-first", (5, 5), work="thread", user="newten", n=1),
    Row("thread", (5, 5), user="ten", n=4, quick=2),
    Row("copy", (5, 5), user="ten", n=1),
    Row("move", (5, 5), user="ten", n=1),
    Row("expunge", (5, 5), user="ten", n=1),
    Row("append", (3, 3), user="scratch", c=1, U=1, n=3000, quick=100, limit="syncs"),
    Row("append-10", (3, 3), work="append", user="scratch", c=10, U=1, n=6000, quick=200),
    Row("append-10-users", (3, 3), work="append", user="scratch", c=10, U=10, n=6000, quick=200),
    Row("lmtp", (4, 4), user="scratch", c=1, U=1, n=3000, quick=100, port="lmtp", limit="syncs"),
    Row("lmtp-users", (4, 4), work="lmtp", user="scratch", c=1, U=10, n=3000, quick=100, port="lmtp"),
    Row("lmtp-10", (4, 4), work="lmtp", user="scratch", c=10, U=1, n=6000, quick=200, port="lmtp"),
    Row("lmtp-10-users", (4, 4), work="lmtp", user="scratch", c=10, U=10, n=6000, quick=200, port="lmtp"),
    Row("lmtp-thousand", (4, 4), work="lmtp", user="scratch", c=10, U=1000, n=10000, quick=1000, port="lmtp"),
    Row("lmtp-new-users", (1, 1), work="lmtp", user="new", c=10, U=3000, n=300, quick=50, port="lmtp"),
    Row("login-new-users", (1, 1), work="login", user="new", c=4, U=3000, n=300, quick=50),
    Row("pop3-retr", (2, 2), n=2000, quick=500, port="pop3"),
    Row("pop3-pipe", (3, 3), n=4000, quick=1000, port="pop3"),
]
