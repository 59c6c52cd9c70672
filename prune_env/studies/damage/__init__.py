"""Does importance predict the damage that a cut does?"""
