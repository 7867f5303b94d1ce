"""Attention layers: one public class a file, named as the class."""
