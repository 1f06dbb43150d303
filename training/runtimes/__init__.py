"""Does a model give the same boxes in every runtime that devices have?"""
