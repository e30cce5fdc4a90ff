"""Addresses -> media: lists of the web fetched on Ray, politely, with a status for every row.

listing.py   a list, or a connector's links, cut into shards of rows
shard.py     one shard: what is missing is fetched, tar and Parquet written
client.py    one address: checks, redirects, retries          rules.py      who wants not to be fetched
picture.py   bytes to what is kept                            addresses.py  which addresses are of the open internet
"""
