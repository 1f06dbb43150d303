"""Site adaptation: a camera's own footage, labelled by a stronger teacher, makes the model better at that site."""
