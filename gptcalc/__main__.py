from gptcalc.cli import main

main()
