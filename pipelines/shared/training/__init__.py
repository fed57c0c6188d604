"""The one training loop, and what it needs: data order, loader, optimizers, resume file, histories."""
