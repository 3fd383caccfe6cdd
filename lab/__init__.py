"""A small real cloud on one machine: Cinder, Glance, MariaDB, RabbitMQ and storage on the loopback."""
