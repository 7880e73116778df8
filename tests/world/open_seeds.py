"""Seeds whose histories still end wrong, most of them after a merge of profiles, after a death in a flush, or within a second of each other."""

OPEN = frozenset({
    24, 292, 571, 626, 642, 707, 895, 938, 952, 1044, 1057, 1230, 1271,
    1411, 1414, 1454, 1731, 1804, 1839, 1958, 1962, 1969, 2125, 2127, 2130, 2137, 2196, 2201,
    2283, 2304, 2334, 2341, 2377, 2500, 2547, 2561, 2709, 2794, 2798, 2844, 2863, 2914,
    2983
})  # fmt: skip
