"""QObjects without widgets: the bridge between the Qt-free core and the window."""
