"""Keeps new damage out: reversible guards in the application's database."""
