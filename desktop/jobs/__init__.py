"""Long work in a child process of its own: quantizing, and what it reads. Free of Qt."""
