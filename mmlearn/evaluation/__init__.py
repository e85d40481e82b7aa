"""How good a model is: pure functions over arrays, and `evaluate(task, dataset)`."""
