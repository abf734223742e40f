"""What runs when something happened: changes of the site, failures that people must hear of."""
