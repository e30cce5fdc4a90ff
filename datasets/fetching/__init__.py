"""Fetches media from lists of URLs on Ray, politely, with a status for every row.

listing.py   splits a list, or a connector's links, into shards of rows
shard.py     one shard: fetches what is missing, writes tar and Parquet
client.py    one URL: checks, redirects, retries              rules.py      opt-outs of sites and blocklists
picture.py   converts fetched bytes to what is stored         addresses.py  which IP addresses are public
"""
