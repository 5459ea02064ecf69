"""`python -m damage_ssl` is the command `damage-ssl`."""

from damage_ssl.cli import main

if __name__ == "__main__":
    main()
