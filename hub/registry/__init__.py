"""From a name to a verified folder.

    client        the verbs; everything outside this package calls these and nothing else
    reference     what a user wrote, parsed once        resolve   which release of which source that is
    index         the index format                      strict    JSON of strangers, read or refused with its place
    manifest      what a module folder holds            requirements   what it needs of this machine
    sources/      where modules come from: an index in a folder or on a server, a module folder
    install       one release into the cache            publish   a module folder into an index
    cache         blobs and modules on disk             workspace, owner   locks, room to work, what the dead left
    download, transfer, partial, retry, transport       bytes from the network, resumed and verified
    archive       safe unpacking

A module is always a plain folder, and what this package promises is that the folder holds the right bytes. Nothing
here imports paddle, and nothing here runs what it fetched.
"""
