"""Commands about containers: one module for each kind of thing that a person does with them."""
