"""What is told of a result: the JSON document, the terminal, the page of HTML and the figures."""
