"""``ebsdsg web``: pages on the database, rendered on the server, for a browser.

Reading is open on this machine only; actions, and any other address, need a token.  Nothing is
loaded from outside: htmx and plotly.js come from this server.
"""
