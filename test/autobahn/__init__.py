"""Run the Autobahn test suite against ws4py, and judge its reports."""
