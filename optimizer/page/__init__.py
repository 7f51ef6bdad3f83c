"""The page: a scenario explored by sliders, searched by the ordinary commands, written and looked back on."""
