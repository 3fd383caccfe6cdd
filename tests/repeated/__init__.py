"""What engine `fast` and the stand-ins of engine `cinder` repeat of Cinder, release by release."""
