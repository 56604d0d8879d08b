"""Export of policies for other programs, and upload of models to the Hugging Face Hub."""
