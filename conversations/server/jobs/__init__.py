"""What the server does regularly by itself. It needs no cron job."""
