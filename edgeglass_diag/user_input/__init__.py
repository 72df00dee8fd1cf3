"""What a user's files hold, read at one place: regular files alone, within limits, each fault in one line. No torch."""
