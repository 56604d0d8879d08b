"""What leaves a run: policies as files for other programs, and models on the Hugging Face Hub."""
