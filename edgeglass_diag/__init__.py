"""Why does my vision-text alignment model not learn, and what do I change?"""
