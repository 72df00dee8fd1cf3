"""One module per page: ``layout`` draws a run, ``changes`` says what is new since a cursor."""
