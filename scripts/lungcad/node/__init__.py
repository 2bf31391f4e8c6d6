# SPDX-License-Identifier: Apache-2.0
"""Node of a hospital network: studies in by C-STORE or DICOMweb, reports and segmentations out again.

Which file does what, in the order in which a study passes them (``service`` calls them):

    settings     who may send, who gets the results, and the limits
    receiver     C-STORE and C-ECHO: every object to a file, as received
    guard        limits against hostile peers: addresses, lengths of messages and objects, handshakes
    commitment   storage commitment: what is held is confirmed, and a study that was confirmed is complete
    spool        state of every study as files, renamed and synced: what a killed node finds again
    work         one complete study: the best series, the chain, report and segmentation
    sender       results to the archive, by C-STORE or STOW-RS, until it has taken them
    service      all of it in one process, its health file, and the orderly end
    pull         the other direction: one study fetched by DICOMweb, analysed, and stored back

The protocols are those of pynetdicom and dicomweb-client (``pip install lungcad[node]``).
"""
